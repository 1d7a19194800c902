"""At the site: install, status, uninstall, and the checks before and after."""
