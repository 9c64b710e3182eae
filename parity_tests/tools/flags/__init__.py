"""Every flag of every command reaches what it is for: a table a command, with the work replaced by stubs."""
