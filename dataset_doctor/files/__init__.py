"""The ground floor: one walk over a folder, the only door to files, image sizes, and writing a file or folder whole or not at all."""
