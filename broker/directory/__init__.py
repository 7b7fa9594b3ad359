"""LDAP / Active Directory: who an employee is and whether the password is right."""
