-- The plugin's version: the one place that says it.  It is the version of the Python companion as well.
return { version = "0.1.0" }
