"""Pictures drawn from a seed, with exact labels: for tests, examples and benchmarks where no data may be shipped."""
