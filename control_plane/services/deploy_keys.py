"""The key by which a deployment reads its repository by ssh: made once, its private half sealed, its public half shown."""

import dataclasses

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from control_plane.clock import Ids
from control_plane.domain import grammar, values

SEED_BYTES = 32


def with_key(ids: Ids, name: str, config: values.Config, old: values.Config | None = None) -> values.Config:
    """`config` with the key that the deployment has; a new one when it is the first time that it needs one.

    None for a repository that is not read by ssh: who comes back to ssh gets another key.
    """
    if config.source != "remote" or not grammar.is_ssh(config.remote):
        return dataclasses.replace(config, deploy_key="", deploy_public_key="")
    known = next((one for one in (old, config) if one is not None and one.deploy_key), None)
    private, public = (known.deploy_key, known.deploy_public_key) if known else _made(ids, name)
    return dataclasses.replace(config, deploy_key=private, deploy_public_key=public)


def _made(ids: Ids, name: str) -> tuple[str, str]:
    key = ed25519.Ed25519PrivateKey.from_private_bytes(bytes.fromhex(ids.secret(SEED_BYTES)))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return private.decode("ascii"), f"{public.decode('ascii')} dployr:{name}"
