"""A directory of this machine as an archive that a deployment takes."""
