"""A built folder, doubted: checks, rows made again, whole builds made again, differences."""
