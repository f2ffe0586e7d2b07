"""Language models behind one call: providers, deadlines, budgets, redaction and an exact cache. Knows no pipelines."""
