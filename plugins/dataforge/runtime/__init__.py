"""What happens inside tasks: staging, extract, typing, transform, checks, load."""
