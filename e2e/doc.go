// Package e2e holds the black-box tests: real programs between real servers, in
// every pairing of the servers that are at hand (package peer). After each scenario
// two judges that share nothing say whether the databases are the same: the package
// compare, and millrace verify.
package e2e
