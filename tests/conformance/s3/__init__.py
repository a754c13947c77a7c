"""S3 endpoints, and requests to them that are made by hand: also such as no client makes."""
