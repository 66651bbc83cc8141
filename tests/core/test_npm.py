"""Packages of a registry: the address, the digest, and one sentence where they cannot be had."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from registry import serving

from alchemist.core import npm
from alchemist.core.refusal import Refusal

CONTENT = b"a package"
# printf 'a package' | openssl dgst -sha512 -binary | base64
DIGEST = "sha512-lI2d9nx0gRaX9NBCiZTClpHmOErJBcRt2N7X5LscwHYyVz7154wN7JsM+kCuEtAT/npvZX0s5104l3pIJMHYgg=="
PACKAGE = npm.Package("@some/pack-age", "1.2.3", DIGEST)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """A registry that has the package."""
    with serving(tmp_path, {"@some/pack-age/-/pack-age-1.2.3.tgz": CONTENT}) as (address, _):
        yield address


def test_a_package_comes_from_where_registries_have_it(served: str) -> None:
    assert npm.fetched(PACKAGE, served) == CONTENT
    assert npm.fetched(PACKAGE, f"{served}/") == CONTENT


def test_other_bytes_than_expected_are_refused(served: str) -> None:
    other = npm.Package(PACKAGE.name, PACKAGE.version, npm.integrity(b"another package"))
    with pytest.raises(
        Refusal, match=r"^What the npm registry gives as @some/pack-age 1\.2\.3 has another sha512"
    ):
        npm.fetched(other, served)


def test_what_is_not_there_is_told_in_one_sentence_without_the_address(served: str) -> None:
    gone = npm.Package(PACKAGE.name, "9.9.9", DIGEST)
    with pytest.raises(
        Refusal, match=r"^@some/pack-age 9\.9\.9 cannot be fetched .*\(it answers 404\); --registry"
    ):
        npm.fetched(gone, served)
    with pytest.raises(Refusal, match=r"\(no answer\)") as told:
        npm.fetched(PACKAGE, "http://name:secret@127.0.0.1:9")
    assert "secret" not in str(told.value)


@pytest.mark.parametrize("base", ["file:///etc", "ftp://127.0.0.1", "registry"])
def test_an_address_that_is_none_of_the_web_is_refused(base: str) -> None:
    with pytest.raises(Refusal, match="should be an address that begins with https:// or http://"):
        npm.fetched(PACKAGE, base)


def test_the_registry_is_that_of_npm_here_or_the_public_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", "https://ours.example/npm")
    assert npm.registry() == "https://ours.example/npm"
    monkeypatch.delenv("NPM_CONFIG_REGISTRY")
    program = tmp_path / "npm"
    program.write_text('#!/bin/sh\n[ "$*" = "config get registry" ] && echo https://set.example/\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert npm.registry() == "https://set.example/"
    program.write_text("#!/bin/sh\nexit 1\n")
    assert npm.registry() == npm.PUBLIC
    program.unlink()
    assert npm.registry() == npm.PUBLIC
