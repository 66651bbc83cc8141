"""The commit of the code that makes figures, as far as git knows it."""

import subprocess

MADE_BY = ("alchemist", "stages", "dvc.yaml", "assets")  # paths of what makes figures


def head() -> str | None:
    """The commit that is checked out; None outside of git."""
    return (git("rev-parse", "HEAD") or "").strip() or None


def edited() -> list[str]:
    """Files that make figures and differ from the commit."""
    lines = (git("status", "--porcelain", "--untracked-files=all", "--", *MADE_BY) or "").splitlines()
    return [line[3:] for line in lines]


def in_words() -> str:
    """The commit that is checked out, and whether what makes figures differs from it."""
    commit, changed = head(), edited()
    if commit is None:
        return "unknown, outside of git"
    return commit + (f", with edits in {len(changed)} of the files that make figures" if changed else "")


def git(*words: str) -> str | None:
    """What a command of git prints; None where it fails or there is no git."""
    try:
        told = subprocess.run(["git", *words], capture_output=True, text=True, check=False)
    except OSError:
        return None
    return told.stdout if told.returncode == 0 else None
