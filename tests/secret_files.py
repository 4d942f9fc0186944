"""Secrets in files, as an operator or a kubelet replaces them."""

from pathlib import Path


def write(file: Path, secret: str) -> None:
    file.write_text(f"{secret}\n", encoding="utf-8")
