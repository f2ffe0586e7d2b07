"""From a pipeline config to a plain TaskFlow module that runs without DataForge: nobody is locked in."""
