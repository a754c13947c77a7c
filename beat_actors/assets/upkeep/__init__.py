"""What operators see and do: the backlog, limits and costs of uploads, forgetting, deletion, and the comparison with the bucket."""
