"""What readers get of an asset: its place, its bytes, its smaller pictures."""
