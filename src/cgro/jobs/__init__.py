"""Calls of commands as jobs: planned, kept, resumed, and carried out here or elsewhere.

`plan` says what a job is, and in which order jobs run; `workspace` and `store` find what is finished, `ledger` how
long it took; `execute` carries out the rest on any executor, and `places` says which: this process, `workers` (begun
by `fork_server`), `slurm`.
`sweeps` does the same for one command that makes many runs.
"""
