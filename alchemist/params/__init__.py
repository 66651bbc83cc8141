"""All of params.yaml: what must fit together across its blocks, and the JSON Schema that an editor reads."""
