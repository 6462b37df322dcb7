"""The watch: looks at the primary through several pairs of eyes, tells slow from lost, and may run the failover.

Eyes observe (`eyes`, `channel`), `verdict` judges what they said, `deciding` says what keeps a failover from being run
by itself, `watching` is the loop and `main` its process. `deputy` begins another one while a loss is suspected:
`failing_over`, which runs the same runbook that a person would.
"""
