// Package routing finds, among many selectors, those that a document matches, at a
// cost that follows the matches and not the number of selectors.
//
// A selector is entered under one condition that every document must meet to match it,
// if it has one that can be looked up ([mango.Selector.Needs]): {"owner": "joe"}, or
// the ids that begin with "joe:". A document is looked up under its own values and
// what is found there is evaluated, as are all selectors without such a condition. So
// the index is exact, and no more than a way to leave most selectors out.
package routing
