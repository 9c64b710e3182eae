"""Every flag of every command has its effect: one table per command, with stubs for the work."""
