"""Converters from other tools' descriptions to configs: one module per kind, each with a function `convert`.

    def convert(text: str, *, file: Path) -> Imported

`text` is the file's whole content, `file` its path, for names and messages; ConfigError when it is no such description.
A converter reads text and nothing else: no network, no import of what the text names, no template run.
"""
