"""What the faults do, one module for each family. A fault heals what it broke before it returns."""
