"""The music of the demo catalog, made by a program: sounds, the stage, players' parts, and genres' styles."""
