"""The control plane's end of the wire to the agents: enrolment, one stream per agent, log relay."""
