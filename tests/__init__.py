import sys

# jsonschema imports this where it is installed, and it compiles grammars of IRIs meanwhile, for two seconds in each process. No test reads an IRI.
# It stands here because it has to come before every import of jsonschema.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
