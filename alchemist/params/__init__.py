"""All of params.yaml: bases of blocks, what must fit together across them, the JSON Schema for editors."""
