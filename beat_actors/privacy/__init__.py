"""Personal data: in which columns it is and for how long (`places`), and the sweep that ends its time (`retention`)."""
