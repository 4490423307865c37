-- The version of the plugin and of the Python companion; it is defined only here.
return { version = "0.1.0" }
