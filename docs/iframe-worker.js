// The theme searches in a worker, and browsers start none for a page that is opened from a folder.
// There, and nowhere else, this stands in for it: a hidden frame with the same script, which gets
// and sends the same messages.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      document.body.append(this.frame);
      this.inside = this.frame.contentWindow;
      this.inside.postMessage = (data) => send(this, MessageEvent, data);
      const script = this.inside.document.createElement("script");
      this.loaded = new Promise((resolve) => script.addEventListener("load", resolve));
      script.src = url;
      this.inside.document.body.append(script);
    }

    postMessage(data) {
      this.loaded.then(() => send(this.inside, this.inside.MessageEvent, data));
    }

    terminate() {
      this.frame.remove();
    }
  };

  function send(target, Event, data) {
    queueMicrotask(() => target.dispatchEvent(new Event("message", { data })));
  }
}
