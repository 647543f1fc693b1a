"""Who may ask the desk, and for what."""

import pytest

from datasets.errors import BadUsageError
from jobs.parts.desk.catalogue import id_of
from jobs.parts.desk.config import TOKEN, DeskConfig
from jobs.parts.desk.guard import KEY_HEADER
from jobs.parts.ledger.ledger import HINTS
from tests.jobs.colorize.library import Library
from tests.jobs.desk.desk import Client, key_of, library_of, visit

PATH = f"/api/chapters/{id_of('ch01.cbz')}/0/hints"
BODY = {"hints": [{"x": 20, "y": 28, "radius": 6, "colour": "#d02040"}]}
SECRET = "a secret of some length"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    return library_of(tmp_path_factory.mktemp("library"), chapters=1, pages=1)


@pytest.mark.parametrize(
    "forged",
    [
        {}, {KEY_HEADER: "guessed"}, {"Origin": "https://evil.example"}, {"Origin": "null"},
        {"Origin": "http://127.0.0.1.evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"},
        {"Host": "evil.example"}, {"Host": "evil.example:8787"}, {"Host": "127.0.0.1.evil.example"},
    ],
)  # fmt: skip
@pytest.mark.parametrize(("method", "path"), [("PUT", PATH), ("PUT", "/api/palette"), ("POST", "/api/apply")])
def test_a_forged_change_is_refused(library: Library, forged: dict[str, str], method: str, path: str) -> None:
    """Each of these is wrong alone: the rest is as our own page sends it."""

    async def forge(client: Client) -> int:
        headers = {**({} if forged in ({}, {KEY_HEADER: "guessed"}) else await key_of(client)), **forged}
        return (await client.request(method, path, json=BODY, headers=headers)).status

    assert visit(library.out, forge) == 403
    assert not (library.out / HINTS).exists()


def test_what_a_form_of_another_site_can_send_is_refused(library: Library) -> None:
    async def forge(client: Client) -> int:
        return (await client.post("/api/apply", data="{}", headers={"Content-Type": "text/plain"})).status

    assert visit(library.out, forge) == 403


def test_our_own_page_may_change(library: Library) -> None:
    async def change(client: Client) -> int:
        here = f"http://127.0.0.1:{client.port}"
        headers = {**await key_of(client), "Origin": here, "Sec-Fetch-Site": "same-origin"}
        return (await client.put(PATH, json=BODY, headers=headers)).status

    assert visit(library.out, change) == 200
    (library.out / HINTS).unlink()


@pytest.mark.parametrize(("host", "status"), [
    ("127.0.0.1:1", 200), ("localhost", 200), ("[::1]:8787", 200), ("evil.example", 403), ("192.168.0.7:8787", 403),
])  # fmt: skip
def test_another_name_for_this_machine_is_not_answered(library: Library, host: str, status: int) -> None:
    async def look(client: Client) -> list[int]:
        return [(await client.get(path, headers={"Host": host})).status for path in ("/", "/api/desk")]

    assert visit(library.out, look) == [status, status]


def test_every_answer_is_strict(library: Library) -> None:
    async def look(client: Client) -> None:
        for path in ("/", "/front/main.js", "/api/desk", "/none", f"/pictures/{id_of('ch01.cbz')}/0/after"):
            headers = (await client.get(path)).headers
            policy = headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert "http" not in policy
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
            assert "Access-Control-Allow-Origin" not in headers

    visit(library.out, look)


def test_a_change_that_is_too_large_is_refused(library: Library) -> None:
    async def send(client: Client) -> int:
        return (await client.put(PATH, data=b" " * (2 << 20), headers=await key_of(client))).status

    assert visit(library.out, send) == 413


def test_other_machines_need_the_token(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN, SECRET)

    async def look(client: Client) -> None:
        assert (await client.get("/api/desk")).status == 403
        assert (await client.get("/")).status == 403
        assert (await client.get("/", params={"token": "guessed"})).status == 403
        assert (await client.get("/api/desk", params={"token": SECRET})).status == 403
        entered = await client.get("/", params={"token": SECRET}, allow_redirects=False)
        assert (entered.status, entered.headers["Location"]) == (303, "/")  # out of the address bar
        assert "HttpOnly" in entered.headers["Set-Cookie"]
        assert "SameSite=Strict" in entered.headers["Set-Cookie"]
        cookie = {"Cookie": entered.headers["Set-Cookie"].partition(";")[0], "Host": "desk.example:8787"}
        assert (await client.get("/api/desk", headers=cookie)).status == 200
        assert (await client.put(PATH, json=BODY, headers=cookie)).status == 403  # it knows no key

    visit(library.out, look, host="0.0.0.0")


@pytest.mark.parametrize("secret", ["", "short"])
def test_another_address_without_a_token_is_bad_usage(secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN, secret)
    for host in ("0.0.0.0", "::", "192.168.0.7", "desk.example"):
        with pytest.raises(BadUsageError, match=rf"--host {host}.*{TOKEN}"):
            DeskConfig(out="out", host=host)
    assert [DeskConfig(out="out", host=host).is_loopback for host in ("127.0.0.1", "::1", "localhost")] == [True] * 3
