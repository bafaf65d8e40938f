"""What an account may be called, and which passwords are accepted. Pure."""

from control_plane import errors

MIN_PASSWORD = 8
MAX_PASSWORD = 1024
MAX_EMAIL = 254


def normal(email: str) -> str:
    """The form in which addresses are stored and compared."""
    return email.strip().lower()


def checked(email: str | None = None, password: str | None = None, password_field: str = "password") -> None:  # noqa: S107 - a field's name
    """InvalidError with every problem of what is given."""
    issues = {
        "email": "" if email is None else email_issue(email),
        password_field: "" if password is None else password_issue(password),
    }
    problems = [{"field": field, "issue": issue} for field, issue in issues.items() if issue]
    if problems:
        raise errors.InvalidError.several("cannot use this account", problems)


def email_issue(email: str) -> str:
    return "" if _is_address(normal(email)) else "not an email address"


def password_issue(password: str) -> str:
    is_good = MIN_PASSWORD <= len(password) <= MAX_PASSWORD
    return "" if is_good else f"must have {MIN_PASSWORD} to {MAX_PASSWORD} characters"


def _is_address(address: str) -> bool:
    local, _, domain = address.partition("@")
    plain = address.isprintable() and " " not in address and len(address) <= MAX_EMAIL
    return bool(local) and bool(domain) and "@" not in domain and plain
