"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);

  function element(name, text, css) {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text; // never as HTML: ids are anybody's
    if (css) made.className = css;
    return made;
  }
  const figure = (value) => value.toFixed(2).replace("-", "−");
  const signed = (value) => (value < 0 ? "" : "+") + figure(value);

  // --- frames ---

  function fillStrip(strip, run, key, id) {
    const frames = data.frames[key];
    const shares = run.attention[key];
    const largest = shares ? Math.max(...shares, 1e-9) : 1;
    frames.images.forEach((image, place) => {
      const seconds = frames.timestamp[place].toFixed(1);
      const shown = element("figure");
      const picture = element("img");
      picture.src = "data:image/jpeg;base64," + image;
      picture.alt = `${id} at ${seconds} s`;
      picture.loading = "lazy";
      shown.append(picture);
      if (shares) {
        const bar = element("div", undefined, "share");
        const inside = element("i");
        inside.style.width = `${(100 * shares[place]) / largest}%`;
        bar.append(inside);
        shown.append(bar);
      }
      const caption = element("figcaption");
      caption.append(element("span", `${seconds} s`));
      if (shares) caption.append(element("span", `${(100 * shares[place]).toFixed(1)} %`));
      shown.append(caption);
      strip.append(shown);
    });
    const said = [];
    if (frames.images.length < frames.of) said.push(`${frames.images.length} of ${frames.of} sampled frames.`);
    if (!shares && strip.closest(".panel")) said.push("Every frame counts alike.");
    if (said.length) strip.after(element("p", said.join(" "), "quiet"));
  }

  // --- scatter: hovering and focusing tells, clicking shows ---

  function connect(section) {
    const run = data.runs[Number(section.dataset.run)];
    for (const strip of section.querySelectorAll(".strip[data-key]")) {
      fillStrip(strip, run, strip.dataset.key, strip.dataset.id);
    }
    const group = section.querySelector(".points");
    const circles = [...group.children];
    const tip = section.querySelector(".tip");
    const panel = section.querySelector(".panel");
    const points = run.points.map(([number, ...rest]) => [data.ids[number], ...rest]);
    const says = ([id, mos, predicted]) => `${id}: label ${figure(mos)}, predicted ${figure(predicted)}`;
    circles.forEach((circle, place) => {
      circle.setAttribute("role", "button");
      circle.setAttribute("tabindex", "-1");
      circle.setAttribute("aria-label", says(points[place]));
    });
    // one stop of the Tab key for all; arrow keys go on in the order of the predictions
    const order = circles.map((_, place) => place).sort((a, b) => points[a][2] - points[b][2]);
    const rank = new Map(order.map((place, at) => [place, at]));
    let current = 0;
    circles[current]?.setAttribute("tabindex", "0");
    const placeOf = (event) => circles.indexOf(event.target);

    function show(place) {
      const [id, mos, predicted] = points[place];
      tip.replaceChildren(element("strong", id), element("br"), `label ${figure(mos)}, predicted ${figure(predicted)}`);
      tip.hidden = false;
      const stage = tip.parentElement.getBoundingClientRect();
      const circle = circles[place].getBoundingClientRect();
      const left = circle.left + circle.width / 2 - stage.left - tip.offsetWidth / 2;
      tip.style.left = `${Math.max(0, Math.min(left, stage.width - tip.offsetWidth))}px`;
      const above = circle.top - stage.top - tip.offsetHeight - 8;
      tip.style.top = `${above >= 0 ? above : circle.bottom - stage.top + 8}px`;
    }
    // the file itself, where the report was made beside it
    function player(id) {
      const address = data.files[data.filesOf[Number(section.dataset.run)]]?.[id];
      if (address === undefined) return [];
      const video = element("video");
      video.controls = true;
      video.preload = "metadata";
      video.setAttribute("aria-label", `video ${id}`);
      video.addEventListener("error", () =>
        video.replaceWith(element("p", "This browser cannot play the file, or it is no longer where the page looks for it: " + address, "quiet")),
      );
      video.src = address;
      return [video];
    }
    function choose(place) {
      for (const circle of circles) circle.classList.remove("chosen-point");
      circles[place].classList.add("chosen-point");
      const [id, mos, predicted, key] = points[place];
      const difference = signed(predicted - mos);
      panel.replaceChildren(
        element("h4", id),
        element("p", `label ${figure(mos)}, predicted ${figure(predicted)} (${difference})`),
        ...player(id),
      );
      if (key === undefined) {
        panel.append(element("p", "No frames of this video are in this page.", "quiet"));
        return;
      }
      const strip = element("div", undefined, "strip");
      panel.append(strip);
      fillStrip(strip, run, key, id);
    }
    function focus(place) {
      circles[current].setAttribute("tabindex", "-1");
      current = place;
      circles[current].setAttribute("tabindex", "0");
      circles[current].focus();
    }
    listVideos(section, points, choose);
    group.addEventListener("mouseover", (event) => placeOf(event) >= 0 && show(placeOf(event)));
    group.addEventListener("mouseout", () => (tip.hidden = true));
    group.addEventListener("focusin", (event) => placeOf(event) >= 0 && show(placeOf(event)));
    group.addEventListener("focusout", () => (tip.hidden = true));
    group.addEventListener("click", (event) => {
      if (placeOf(event) < 0) return;
      focus(placeOf(event));
      choose(placeOf(event));
    });
    group.addEventListener("keydown", (event) => {
      const steps = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, Home: -Infinity, End: Infinity };
      if (event.key in steps) {
        const to = rank.get(current) + steps[event.key];
        focus(order[Math.max(0, Math.min(to, order.length - 1))]);
      } else if (event.key === "Enter" || event.key === " ") {
        choose(current);
      } else if (event.key === "Escape") {
        tip.hidden = true;
        return;
      } else {
        return;
      }
      event.preventDefault();
    });
  }

  // --- the videos of a run: filtered, sorted, downloaded ---

  const FIRST_ROWS = 100; // until all are asked for

  function listVideos(section, points, choose) {
    const list = section.querySelector(".videos");
    const [filter, body, more] = ["input", "tbody", ".more"].map((name) => list.querySelector(name));
    const headers = [...list.querySelectorAll("thead th")];
    const values = [([id]) => id, ([, mos]) => mos, ([, , predicted]) => predicted, ([, mos, predicted]) => Math.abs(predicted - mos)];
    const places = points.map((_, place) => place);
    let column = 3, sign = -1, all = false;

    function found() {
      const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
      const value = (place) => values[column](points[place]);
      const compare = (a, b) => (column ? value(a) - value(b) : value(a).localeCompare(value(b), undefined, { numeric: true }));
      return places
        .filter((place) => words.every((word) => points[place][0].toLowerCase().includes(word)))
        .sort((a, b) => sign * compare(a, b));
    }
    function row(place) {
      const [id, mos, predicted] = points[place];
      const made = element("tr"), name = element("th"), chooses = element("button", id);
      chooses.type = "button";
      chooses.addEventListener("click", () => {
        choose(place);
        section.querySelector(".panel").scrollIntoView({ block: "nearest" });
      });
      name.scope = "row";
      name.append(chooses);
      made.append(name, ...[figure(mos), figure(predicted), signed(predicted - mos)].map((text) => element("td", text)));
      return made;
    }
    function render() {
      const shown = found();
      body.replaceChildren(...(all ? shown : shown.slice(0, FIRST_ROWS)).map(row));
      more.hidden = body.rows.length === shown.length;
      more.textContent = `Show all ${shown.length}`;
      list.querySelector(".count").textContent = `${shown.length} of ${points.length} videos`;
      headers.forEach((header, number) =>
        header.setAttribute("aria-sort", number !== column ? "none" : sign > 0 ? "ascending" : "descending"),
      );
    }
    function download() {
      const quoted = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
      const lines = found().map((place) => [quoted(points[place][0]), points[place][1], points[place][2]].join(","));
      const link = element("a");
      link.href = URL.createObjectURL(new Blob([["id,mos,predicted", ...lines, ""].join("\n")], { type: "text/csv" }));
      link.download = `predictions-${section.id}.csv`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    }
    headers.forEach((header, number) =>
      header.querySelector("button").addEventListener("click", () => {
        sign = number === column ? -sign : header.dataset.start === "ascending" ? 1 : -1;
        column = number;
        render();
      }),
    );
    filter.addEventListener("input", render);
    more.addEventListener("click", () => ((all = true), render()));
    list.querySelector(".download").addEventListener("click", download);
    // thousands of rows are not made for who does not look
    list.addEventListener("toggle", render, { once: true });
  }

  // --- tables ---

  function sortable(table) {
    const headers = [...table.tHead.rows[0].cells];
    const body = table.tBodies[0];
    headers.forEach((header, column) => {
      header.querySelector("button").addEventListener("click", () => {
        const before = header.getAttribute("aria-sort");
        const direction =
          before === "none" ? header.dataset.start : before === "ascending" ? "descending" : "ascending";
        for (const other of headers) other.setAttribute("aria-sort", "none");
        header.setAttribute("aria-sort", direction);
        const sign = direction === "ascending" ? 1 : -1;
        const value = (row) => row.cells[column].dataset.value;
        const compare = (a, b) =>
          header.dataset.kind === "number" ? Number(a) - Number(b) : a.localeCompare(b, undefined, { numeric: true });
        const empty = (row) => value(row) === ""; // undefined: last, whichever way
        body.append(
          ...[...body.rows].sort((a, b) =>
            empty(a) || empty(b) ? empty(a) - empty(b) : sign * compare(value(a), value(b)),
          ),
        );
      });
    });
  }

  document.querySelectorAll(".run").forEach(connect);
  document.querySelectorAll("table.sortable").forEach(sortable);
  // a link to a run opens it, and paper shows all runs
  const open = () => document.getElementById(location.hash.slice(1))?.setAttribute("open", "");
  addEventListener("hashchange", open);
  if (location.hash) open();
  addEventListener("beforeprint", () => {
    for (const run of document.querySelectorAll("details.run")) run.open = true;
    for (const image of document.images) image.loading = "eager";
  });
})();
