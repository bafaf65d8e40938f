"""What an account may be called, and which passwords are accepted. Pure."""

from collections.abc import Sequence

from control_plane import errors

MIN_PASSWORD = 8
MAX_PASSWORD = 1024
MAX_EMAIL = 254

Problem = tuple[str, str]  # field, issue


def normal(email: str) -> str:
    """The form in which addresses are stored and compared."""
    return email.strip().lower()


def checked(email: str | None = None, password: str | None = None, password_field: str = "password") -> None:  # noqa: S107 - a field's name
    """InvalidError with every problem of what is given."""
    problems: list[Problem] = []
    if email is not None and not _is_address(normal(email)):
        problems.append(("email", "not an email address"))
    if password is not None and not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        problems.append((password_field, f"must have {MIN_PASSWORD} to {MAX_PASSWORD} characters"))
    refuse(problems, "account")


def refuse(problems: Sequence[Problem], subject: str) -> None:
    """InvalidError that lists `problems`; nothing without any."""
    if problems:
        listed = [{"field": field, "issue": issue} for field, issue in problems]
        said = "; ".join(f"{field}: {issue}" for field, issue in problems)
        details = {**listed[0], "errors": listed} if len(listed) > 1 else dict(listed[0])
        raise errors.InvalidError(f"cannot use this {subject}: {said}", details)


def _is_address(address: str) -> bool:
    local, _, domain = address.partition("@")
    plain = address.isprintable() and " " not in address and len(address) <= MAX_EMAIL
    return bool(local) and bool(domain) and "@" not in domain and plain
