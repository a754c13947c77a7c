"""The rival providers of Instagram's data, one module each; none knows another."""
