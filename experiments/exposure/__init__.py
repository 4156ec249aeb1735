"""How much leak, and which attacks an audit should have: docs/suites.md."""
