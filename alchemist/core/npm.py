"""Packages of npm's registry, fetched as one file each and held against the digest that is expected."""

import base64
import contextlib
import hashlib
import http.client
import os
import shutil
import subprocess
import urllib.error
import urllib.request
from dataclasses import dataclass

from alchemist.core.refusal import Refusal

PUBLIC = "https://registry.npmjs.org"
MOST = 256 << 20  # bytes of a package that are read; those in use have at most 4 MB


@dataclass(frozen=True)
class Package:
    """One version of a package. `integrity` is what the registry states of its file, "sha512-" and base64."""

    name: str
    version: str
    integrity: str

    @property
    def file(self) -> str:
        """Where its file lies below a registry."""
        return f"{self.name}/-/{self.name.rpartition('/')[2]}-{self.version}.tgz"


def registry() -> str:
    """The registry that npm would ask here, by environment variable or settings, or the public one."""
    named = os.environ.get("NPM_CONFIG_REGISTRY", "")
    npm = shutil.which("npm")
    if not named and npm is not None:
        with contextlib.suppress(OSError, subprocess.SubprocessError):  # an npm that fails has no say
            command = [npm, "config", "get", "registry"]
            asked = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
            named = asked.stdout.strip()
    return named or PUBLIC


def fetched(package: Package, base: str) -> bytes:
    """The file of a package (.tgz), whose digest is as expected. Raises Refusal where it is not to be had."""
    if not base.startswith(("https://", "http://")):  # urllib would read files of this machine too
        raise Refusal(
            f"--registry is {base!r}; it should be an address that begins with https:// or http://."
        )
    try:
        with urllib.request.urlopen(f"{base.rstrip('/')}/{package.file}", timeout=60) as answer:
            content: bytes = answer.read(MOST)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise Refusal(
            f"{package.name} {package.version} cannot be fetched from the npm registry ({_told(error)}); "
            "--registry names another one."
        ) from None
    if integrity(content) != package.integrity:
        raise Refusal(
            f"What the npm registry gives as {package.name} {package.version} has another sha512 than "
            f"that package: {integrity(content)}."
        )
    return content


def integrity(content: bytes) -> str:
    """The digest of a file as npm writes it."""
    return f"sha512-{base64.b64encode(hashlib.sha512(content).digest()).decode()}"


def _told(error: Exception) -> str:
    """Why, without the address, which may hold a password."""
    if isinstance(error, urllib.error.HTTPError):
        return f"it answers {error.code}"
    return "no answer"
