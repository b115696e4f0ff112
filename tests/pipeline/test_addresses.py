"""What is an address and what a path; nothing secret of an address is shown or kept."""

from __future__ import annotations

import string
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vqa_twostage.pipeline.addresses import (
    HIDDEN,
    NAMED,
    checked,
    has_secret,
    is_address,
    local_path,
    require_local,
    shown,
    without_secrets,
)
from vqa_twostage.pipeline.errors import UsageError

PROTOCOLS = ["s3", "gs", "hf", "memory", "S3", "abfs", "ssh", "https", "my-own+store"]
plain = st.text(string.ascii_letters + string.digits + "._-", min_size=1, max_size=12)
key = st.text(string.ascii_letters + string.digits + "._- @:+=&%~'é", min_size=1, max_size=12)
# what keys and passwords are made of, and more
secret = st.text(string.ascii_letters + string.digits + "/+=@:?#%&!-_.~", min_size=12, max_size=40)
EACH_CASE = settings(deadline=None)


@EACH_CASE
@given(st.sampled_from(PROTOCOLS), plain, st.lists(key, max_size=4))
def test_address_without_secrets_is_kept_as_it_is(
    protocol: str, bucket: str, parts: list[str]
) -> None:
    address = f"{protocol}://{'/'.join([bucket, *parts])}"
    assert checked(f"{address}/", "--root") == address.replace(protocol, protocol.lower(), 1)
    assert shown(address) == address


@EACH_CASE
@given(
    st.sampled_from(PROTOCOLS), plain, secret, st.sampled_from(["{user}:{secret}@", "{secret}@"])
)
def test_secret_before_the_bucket_is_refused_and_never_told(
    protocol: str, user: str, secret: str, form: str
) -> None:
    address = f"{protocol}://{form.format(user=user, secret=secret)}bucket/folder"
    head = address.partition("://")[2].partition("/")[0]
    is_name = protocol in NAMED and "@" in head and ":" not in head  # such as ssh://me@host
    if is_name and not has_secret(address):
        return
    if "@" not in head and ":" not in head and "?" not in address and "#" not in address:
        return  # a slash comes first, so that nothing tells the secret from a folder
    with pytest.raises(UsageError) as refused:
        checked(address, "--root")
    assert secret not in str(refused.value)
    assert secret not in shown(address)
    assert secret not in without_secrets(f"cannot open {address}, sorry")


@EACH_CASE
@given(st.sampled_from(PROTOCOLS), plain, secret, st.sampled_from(["?X-Amz-Signature=", "#"]))
def test_query_is_refused_and_never_told(
    protocol: str, name: str, secret: str, before: str
) -> None:
    address = f"{protocol}://bucket/{name}{before}{secret}"
    with pytest.raises(UsageError) as refused:
        checked(address, "d.csv, row 2")
    assert str(refused.value).startswith("d.csv, row 2: ")
    assert secret not in str(refused.value) + shown(address)


@pytest.mark.parametrize(
    "address",
    [
        "s3://AKIA:123/abcdef@bucket/x",  # the secret begins as a port would
        "s3://AKIA:1234@bucket/x",
        "s3://AKIA@bucket/x",
        "https://token@host/x.mp4",
        "ssh://me:22/pass@host/x",
    ],
)
def test_key_that_could_be_taken_for_a_host_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="is refused"):
        checked(address, "--root")


@pytest.mark.parametrize(
    "address",
    [
        "ssh://me@host:22/home/me/videos",
        "abfs://container@account.dfs.core.windows.net/x",
        "hf://datasets/someone/videos@main/clips",
        "s3://bucket/a@b/c.mp4",
        "https://host:8080/clip.mp4",
    ],
)
def test_names_that_are_no_secret_are_kept(address: str) -> None:
    assert checked(address, "--root") == address


@pytest.mark.parametrize(
    "text", ["", "videos", "/data/videos", "C:/videos", "C:\\videos", "a:b.mp4", "x/s3://b", "://x"]
)
def test_path_is_no_address(text: str) -> None:
    assert not is_address(text)
    require_local(text, "--cache", "")


def test_address_of_this_machine_is_a_path() -> None:
    assert local_path("file:///data/videos") == Path("/data/videos")
    assert local_path("s3://bucket") is None


def test_address_that_names_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="names no bucket or folder"):
        checked("s3://", "--root")
    with pytest.raises(UsageError, match="several protocols"):
        checked("simplecache::s3://bucket", "--root")
    with pytest.raises(UsageError, match="cannot be printed"):
        checked("s3://bucket/a\x1b[2J", "--root")


@pytest.mark.parametrize("value", ["s3://bucket/cache", Path("s3://bucket/cache")])
def test_address_in_the_place_of_a_folder_is_refused(value: str | Path) -> None:
    with pytest.raises(UsageError, match=r"^--cache s3://bucket/cache is an address: copy it$"):
        require_local(value, "--cache", "copy it")


def test_values_of_the_environment_that_are_secret_are_hidden(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "abcdef123456")
    monkeypatch.setenv("MY_TOKEN", "short")
    text = without_secrets("the key abcdef123456 of http://me:pw@host/x?sig=1 is short")
    assert text == f"the key {HIDDEN} of http://{HIDDEN} is short"
