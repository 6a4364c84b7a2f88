"""Settings of a machine: doctor, proxies, tokens from anywhere and shown nowhere, Xet."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from chatdata.hub.secrets import redact
from tests.support.loopback import Hub
from tests.support.loopback.clients import Clients, clients, environment
from tests.support.publishing import ADA, repository


def chatdata(*arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """The command as a user runs it, in a process that imports all anew."""
    command = [sys.executable, "-m", "chatdata", *map(str, arguments)]
    return subprocess.run(command, env=variables, capture_output=True, text=True, check=False)


# --------------------------------------------------------------------------------- doctor


def test_doctor_says_that_publishing_would_work(hub: Hub, client: Clients) -> None:
    hub.store.add_user("dora", token="hf_dora", orgs=("lab",))
    done = client.run("doctor", "lab/data", token="hf_dora")
    assert done.code == 0, done.stdout
    assert done.stdout.splitlines()[-1] == "publishing to lab/data would work"
    assert "user           dora, of lab" in done.stdout
    assert "token          from HF_TOKEN, role write" in done.stdout
    assert "Xet            off" in done.stdout
    facts = client.run("doctor", "--json", token="hf_dora").json()
    assert facts["problems"] == []
    assert {"chatdata", "huggingface_hub", "hf_xet", "datasets"} <= set(facts["versions"])
    assert facts["endpoint"] == hub.endpoint
    assert not hub.asked("POST|PUT|DELETE")


@pytest.mark.parametrize(
    ("token", "repo", "words"),
    [
        ("", [], "There is no token: set HF_TOKEN, or log in with `hf auth login`."),
        ("hf_wrong", [], "does not accept this token, which is wrong or has expired"),
        ("hf_eveMayRead", [], "The token may only read: make one that may write, at http"),
        (ADA, ["bob/data"], "'ada' is not 'bob' and not a member of it: publish to ada/..."),
        ("hf_fine", ["ada/other"], "The token may not write to 'ada/other'"),
        ("hf_discussing", ["ada/one"], "The token may not write to 'ada/one'"),
        ("hf_discussing", [], "The token may not write to any repository"),
        ("hf_fay", ["press/data"], "'fay' may only read in 'press': ask its administrators"),
    ],
)
def test_doctor_says_what_is_wrong(
    hub: Hub, client: Clients, token: str, repo: list[str], words: str
) -> None:
    fine_grained: dict[str, Any] = {"role": "fineGrained", "writes": ("ada/one",)}
    hub.store.add_user("ada", token="hf_fine", **fine_grained)
    discussing = ("discussion.write", "inference.endpoints.write")
    hub.store.add_user("ada", token="hf_discussing", **fine_grained, permissions=discussing)
    hub.store.add_user("fay", token="hf_fay", read_only_orgs=("press",))
    done = client.run("doctor", *repo, token=token)
    assert done.code == 1
    assert words in done.stdout
    if token == "hf_fine":
        assert client.run("doctor", "ada/one", token=token).code == 0


MUDDLE = """
from huggingface_hub import constants
constants.ENDPOINT = {endpoint!r}
constants.{name} = True
from chatdata.cli import main
main(["doctor"])
"""


@pytest.mark.slow
@pytest.mark.parametrize("proxy", ["http://proxy:x", "socks5://proxy", "gopher://proxy"])
def test_a_proxy_that_cannot_be_used_is_named(
    client: Clients,
    few_rows: Path,
    proxy: str,
) -> None:
    variables = {"ALL_PROXY": proxy}
    push = ("push", few_rows, "ada/x", "--version", "1.0.0")
    for arguments in (("doctor",), push, ("pull", "ada/x@1.0.0", "--out", "o")):
        done = client.run(*arguments, token=ADA, variables=variables)
        assert done.code == 1
        assert "he proxy cannot be used" in done.stdout + done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "endpoint", "words"),
    [
        ("NONE", "http://127.0.0.1:9", "cannot be reached (nobody answers at 127.0.0.1:9)"),
        ("HF_HUB_OFFLINE", "http://127.0.0.1:9", "HF_HUB_OFFLINE is set"),
        ("NONE", "huggingface.co", "which is not an address; write https://HOST"),
        ("NONE", "http://localhost.example:9", "so the token is not encrypted; use https"),
        ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "http://127.0.0.1:9", "IMPLICIT_TOKEN is set"),
    ],
)
def test_doctor_without_a_network_or_in_a_muddle(
    client: Clients, name: str, endpoint: str, words: str
) -> None:
    variables = {"HTTP_PROXY": "http://127.0.0.1:9"}
    code = MUDDLE.format(name=name, endpoint=endpoint)
    done = client.run(code=code, token=ADA, variables=variables)
    assert done.code == 1
    assert words in done.stdout, done.stderr
    assert done.stderr == ""


# ----------------------------------------------------------------------------- secrets

SECRET = "hf_secretOfAda"
PASSWORD = "pa55wordOfTheProxy"


@pytest.mark.slow
def test_proxies_are_used_and_nothing_secret_is_ever_shown(
    hub: Hub,
    few_rows: Path,
    tmp_path: Path,
) -> None:
    """The Hub itself answers as the proxy to a Hub that exists nowhere else. It echoes the token
    in what it refuses; the token comes from a file, then from the environment."""
    hub.store.add_user("cleo", token=SECRET)
    proxy = hub.endpoint.replace("//", f"//user:{PASSWORD}@")
    base = {"HTTP_PROXY": proxy, "NO_PROXY": "", "HF_DEBUG": "1"}
    texts: list[str] = []
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "token").write_text(SECRET)
    echo = json.dumps({"error": f"Bearer {SECRET} via {proxy} is refused"}).encode()
    push = ("push", few_rows, "cleo/quiet", "--version", "1.0.0")
    with clients("http://hub.example", tmp_path) as proxied:

        def run(*arguments: str | Path, code: int = 0, token: str = SECRET, **more: str) -> None:
            done = proxied.run(*arguments, token=token, variables={**base, **more})
            texts.append(done.stdout + done.stderr)
            assert done.code == code, done.stderr

        headers = {"X-Error-Message": SECRET}
        hub.faults.add("POST .*/commit/", status=400, body=echo, headers=headers)
        run(*push, code=1, token="")
        (tmp_path / "home" / "token").unlink()
        hub.faults.add("PUT ", status=503, body=echo)
        hub.faults.add("POST .*/commit/", status=503, body=echo)
        run(*push)
        run(*push, code=1, token=f"{SECRET}wrong")
        run("pull", "cleo/quiet@1.0.0", "--out", tmp_path / "pulled", "--json")
        run("doctor", code=1)  # the endpoint is not encrypted
        run("doctor", "--json", code=1)
        for port in ("9", "x"):
            run(*push, code=1, HTTP_PROXY=f"http://user:{PASSWORD}@127.0.0.1:{port}")
        assert hub.log
        assert all("hub.example" in exchange.headers["host"] for exchange in hub.log)
        assert any("proxy-authorization" in exchange.headers for exchange in hub.log)
    address = environment(f"http://user:{PASSWORD}@127.0.0.1:9", tmp_path, HF_TOKEN=SECRET)
    done = chatdata(*push, **address)
    assert done.returncode == 1
    texts.append(done.stdout + done.stderr)
    for path in (*tmp_path.rglob("*"), *few_rows.parent.rglob("*")):
        if path.is_file():
            texts.append(path.read_bytes().decode(errors="replace"))
    published = repository(hub, "cleo/quiet")
    tree = published.resolve("main").tree
    texts += [hub.store.read(blob).decode(errors="replace") for blob in tree.values()]
    for text in texts:
        for secret in (SECRET, PASSWORD, "sig=secret"):
            assert secret not in text, text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("hf_abcDEF123 is refused", "… is refused"),
        ("Authorization: Bearer abc.def", "Authorization: Bearer …"),
        ("at http://user:pass@host:1/x?X-Amz-Signature=1&b=2 now", "at http://host:1/x now"),
        ("is it there? a=b", "is it there? a=b"),
        ("a basic transfer", "a basic transfer"),
    ],
)
def test_what_looks_secret_is_hidden(text: str, shown: str) -> None:
    assert redact(text) == shown


def test_a_token_without_a_shape_is_hidden_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "plain-token-of-a-mirror")
    monkeypatch.setenv("https_proxy", "http://me:s%40cret@proxy:1")
    assert redact("plain-token-of-a-mirror and s@cret") == "… and …"


# ------------------------------------------------------------------------------------- Xet


@pytest.mark.slow
@pytest.mark.parametrize("has_xet", [False, True])
def test_xet_is_used_where_the_hub_has_it_and_lfs_where_not(
    hub: Hub,
    few_rows: Path,
    tmp_path: Path,
    has_xet: bool,
) -> None:
    pytest.importorskip("hf_xet")
    hub.options.xet_folder = str(tmp_path / "xet") if has_xet else None
    variables = environment(hub.endpoint, tmp_path, HF_TOKEN=ADA)
    del variables["HF_HUB_DISABLE_XET"]
    name = f"ada/xet-{has_xet}"
    done = chatdata("push", few_rows, name, "--version", "1.0.0", **variables)
    assert done.returncode == 0, done.stderr
    assert bool(hub.asked("PUT /lfs")) is not has_xet
    assert ("this Hub has no Xet" in done.stderr) is not has_xet
    assert len(repository(hub, name).history()) == 2
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or ADA.encode() not in path.read_bytes()
    if has_xet:
        assert any(path.is_file() for path in (tmp_path / "xet").rglob("*"))
