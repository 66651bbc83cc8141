"""What to accept or to mind before a data set is had, by the format that reads it."""

TERMS = {
    "laion": "the metadata of Re-LAION are gated: accept the terms on the page of the data set and log in; "
    "rights in the images are their owners'.",
    "mjhq30k": "for evaluation alone; its images are Midjourney's.",
}
