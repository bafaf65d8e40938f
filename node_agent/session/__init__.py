"""The agent's end of the wire to the control plane: identity, one stream, log calls."""
