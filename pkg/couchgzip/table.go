package couchgzip

// The tables of RFC 1951, section 3.2.5 and 3.2.6.
var (
	lengthExtra   = [29]uint8{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0}
	distanceExtra = [distanceCount]uint8{0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13}
	codeExtra     = [codeLengthCount]uint8{repeatLength: 2, repeatZero: 3, repeatManyZeros: 7}
	lengthOrder   = [codeLengthCount]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

	lengthCodes, lengthBase        = lengthTables()
	distanceCodes, distanceBase    = distanceTables()
	staticLiterals, staticDistance = staticTrees()

	literalKind  = kind{count: literalCount, longest: maxBits, extra: lengthExtra[:], firstOf: firstLength, standard: &staticLiterals}
	distanceKind = kind{count: distanceCount, longest: maxBits, extra: distanceExtra[:], standard: &staticDistance}
	lengthKind   = kind{count: codeLengthCount, longest: 7, extra: codeExtra[:]}
)

// lengthTables has the code of each length (less three) and the first length of each code.
func lengthTables() (codes [maxMatch - minMatch + 1]uint8, base [29]uint8) {
	length := 0
	for code := range len(base) - 1 {
		base[code] = uint8(length)
		for range 1 << lengthExtra[code] {
			codes[length] = uint8(code)
			length++
		}
	}
	// The longest has a code of its own, though the one before has room for it.
	codes[maxMatch-minMatch], base[28] = 28, maxMatch-minMatch
	return codes, base
}

// distanceTables has the code of each distance (less one) below 256, and of each 128th above.
func distanceTables() (codes [512]uint8, base [distanceCount]uint16) {
	distance := 0
	for code := range distanceCount {
		base[code] = uint16(distance)
		for range 1 << distanceExtra[code] {
			if distance < 256 {
				codes[distance] = uint8(code)
			} else {
				codes[256+distance>>7] = uint8(code)
			}
			distance++
		}
	}
	return codes, base
}

func distanceCode(distance int) uint8 {
	if distance < 256 {
		return distanceCodes[distance]
	}
	return distanceCodes[256+distance>>7]
}

// staticTrees are the codes that need not be written.
func staticTrees() (literals, distance tree) {
	var count [maxBits + 1]int
	for n := range literalCount + 2 { // two that are never used
		length := uint8(8)
		switch {
		case n >= 280:
		case n >= 256:
			length = 7
		case n >= 144:
			length = 9
		}
		literals.length[n] = length
		count[length]++
	}
	literals.last = literalCount + 1
	literals.assign(&count)
	count = [maxBits + 1]int{5: distanceCount}
	for n := range distanceCount {
		distance.length[n] = 5
	}
	distance.last = distanceCount - 1
	distance.assign(&count)
	return literals, distance
}
