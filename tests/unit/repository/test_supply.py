"""What is shipped: NOTICE and the bill of materials follow the lock, secrets are found, and an audit without data says so."""

import base64
import json
import random
import re
import string
import subprocess
import sys
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from beat_actors.access import tokens
from supply import audit, lock, secrets
from supply.notice import NOTICE, notice
from supply.sbom import bom

LETTERS = string.ascii_letters + string.digits


def drawn(count: int, of: str = LETTERS) -> str:
    """The same text at each run."""
    return "".join(random.Random(count).choice(of) for _ in range(count))


def test_notice_agrees_with_the_lock_and_the_installed_packages() -> None:
    assert NOTICE.read_text() == notice(lock.packages()), "run `make notice`"


def test_notice_names_every_package_of_the_image_and_explains_the_lgpl() -> None:
    text = NOTICE.read_text()
    names = re.findall(r"^([a-z0-9][a-z0-9-]*)==\S+ (?!; python_full_version <)", lock.LOCK.read_text(), re.MULTILINE)
    assert len(names) > 40
    for name in names:
        assert re.search(rf"^{name} +\d", text, re.MULTILINE), name
    copyleft = [one.name for one in lock.packages() if one.copyleft]
    assert copyleft == ["dramatiq", "pi-heif", "psycopg", "psycopg-binary"]
    for name in copyleft:
        assert re.search(rf"^{name} \S+, (\S+ AND )?LGPL-3.0\S+: https://", text, re.MULTILINE)


def test_a_package_of_another_version_or_of_unknown_terms_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = "0" * 64
    other = tmp_path / "lock"
    other.write_text(f"yarl==0.0.1 \\\n    --hash=sha256:{digest}\n")
    with pytest.raises(lock.SupplyError, match="make install"):
        lock.packages(other)
    monkeypatch.setattr(lock, "ALLOWED", lock.ALLOWED - {"LGPL-3.0-or-later"})
    with pytest.raises(lock.SupplyError, match="dramatiq: its licence is"):
        lock.packages()


def test_the_bill_of_materials_is_valid_and_complete() -> None:
    found = lock.packages()
    text = bom(found)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    document = json.loads(text)
    parts = {part["name"]: part for part in document["components"]}
    assert parts.keys() == {one.name for one in found}
    assert parts["dramatiq"]["licenses"] == [{"license": {"id": "LGPL-3.0-or-later"}}]
    assert all(part["hashes"] and part["purl"].startswith("pkg:pypi/") for part in parts.values())
    needs = {entry["ref"]: entry.get("dependsOn", []) for entry in document["dependencies"]}
    assert {"multidict", "yarl"} <= set(needs["aiohttp"])
    assert "dramatiq" in needs["beat-actors"]


@pytest.mark.parametrize(
    ("what", "text"),
    [
        pytest.param("API key of Beat", tokens.mint().text, id="API key of Beat"),  # it differs in each test process
        ("key ring of Beat", f"2026:{base64.b64encode(random.Random(1).randbytes(32)).decode()}"),
        ("access token of Meta", "EAA" + drawn(80)),
        ("API key of RapidAPI", f"{drawn(10, '0123')}msh{drawn(15, 'abc')}p{drawn(6, 'abc')}jsn{drawn(12, '0123')}"),
        ("API key of Google", "AIza" + drawn(35)),
        ("token of Shopify", "shpat_" + drawn(32, "0123456789abcdef")),
        ("access key of AWS", "AKIA" + drawn(16, string.ascii_uppercase)),
        ("token of GitHub", "ghp_" + drawn(36)),
        ("private key", "-----BEGIN RSA " + "PRIVATE KEY-----"),
    ],
)
def test_a_secret_is_found_and_not_repeated(what: str, text: str, tmp_path: Path) -> None:
    file = tmp_path / "settings.py"
    file.write_text(f"first = 1\nsecret = {text!r}\nagain = {text!r}  # {secrets.MARK}\n")
    assert secrets.look([file]) == [f"{file}:2: {what}"]
    said = subprocess.run(
        (sys.executable, "-m", "supply.secrets", str(file)), cwd=lock.ROOT, capture_output=True, text=True, check=False
    )
    assert said.returncode == 1
    assert text not in said.stdout + said.stderr


def test_what_only_looks_like_a_secret_is_none() -> None:
    damaged = tokens.mint().text[:-1] + "!"
    zeros = f"key:{base64.b64encode(bytes(32)).decode()}"
    assert list(secrets.found(f"{damaged}\n{zeros}\nAKIA\nhttps://example.com")) == []


@pytest.mark.exhaustive
def test_nothing_in_the_repository_looks_like_a_secret() -> None:
    """Which `make lint` asks as well."""
    files = secrets.committed()
    assert len(files) > 400
    assert secrets.look(files) == []


def report(*dependencies: dict[str, object]) -> tuple[str, ...]:
    """A command that prints what pip-audit would."""
    return (sys.executable, "-c", f"print({json.dumps(json.dumps({'dependencies': dependencies}))})")


def test_an_audit_fails_for_a_known_vulnerability_alone() -> None:
    good = {"name": "yarl", "version": "1", "vulns": []}
    bad = {"name": "aiohttp", "version": "3", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3.1"]}]}
    skipped = {"name": "idna", "skip_reason": "not found"}
    assert audit.ask(report(good)) == (0, "no vulnerability is known in 1 packages")
    assert audit.ask(report(good, bad)) == (1, "aiohttp 3: PYSEC-1, fixed in 3.1")
    assert audit.ask(report(skipped)) == (0, "not audited: 1 of 1 packages, such as: not found")
    code, said = audit.ask(report(good, skipped))
    assert (code, said.splitlines()[-1]) == (0, "no vulnerability is known in 1 packages")


def test_an_audit_that_reaches_nothing_says_so_and_does_not_fail() -> None:
    broken = (sys.executable, "-c", "import sys; sys.exit('ConnectionError: no route')")
    assert audit.ask(broken) == (0, "not audited: ConnectionError: no route")
    hanging = (sys.executable, "-c", "import signal; signal.pause()")
    assert audit.ask(hanging, timeout=0.2) == (0, "not audited: no answer within 0.2 s")
