"""Shapes that several providers share, as they were recorded: a gateway's headers, the private API's objects, the web's."""
