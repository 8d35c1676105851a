"""What `deploy/ops/reoptimize` and its webhook do: a job, its bundle on trial, the verdict."""
