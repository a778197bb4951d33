"""The claims of the supplement: statistics, verdicts, controls, and what others published."""
