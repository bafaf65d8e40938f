"""What the endpoints of auth take, beside the login itself."""

import pydantic

from control_plane.api import schemas


class PasswordInput(schemas.Input):
    current: str = pydantic.Field(max_length=1024)
    new: str = pydantic.Field(max_length=1024, description="At least 8 characters")


class SetupInput(schemas.Input):
    token: str = pydantic.Field(max_length=256, description="What the control plane printed when it started")
    email: str = pydantic.Field(max_length=320)
    password: str = pydantic.Field(max_length=1024, description="At least 8 characters")
