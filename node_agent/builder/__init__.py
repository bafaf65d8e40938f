"""From a release's description to a sealed directory: source, toolchain, build, seal, reuse."""
