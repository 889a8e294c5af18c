package shop

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"sync"
)

// Photos are squares of so many pixels a side, in so many shades.
const (
	smallestPhoto = 48
	largestPhoto  = 96
	shades        = 64
)

// photo is a PNG of a few kilobytes: a ball before a background, with the noise that
// makes photos hard to compress.
func (g generator) photo(reuse *pngBuffers) []byte {
	side := smallestPhoto + g.IntN(largestPhoto-smallestPhoto)
	img := image.NewPaletted(image.Rect(0, 0, side, side), g.palette())
	centre, radius := side/2+g.IntN(9)-4, side/4+g.IntN(side/5)
	for y := range side {
		for x := range side {
			shade := y * shades / (4 * side)
			if dx, dy := x-centre, y-centre; dx*dx+dy*dy < radius*radius {
				shade = shades - 12 - (dx+dy+2*radius)*shades/(8*radius)
			}
			img.Pix[y*img.Stride+x] = byte(shade + g.IntN(6))
		}
	}
	var out bytes.Buffer
	encoder := png.Encoder{CompressionLevel: png.BestSpeed, BufferPool: reuse}
	if err := encoder.Encode(&out, img); err != nil {
		panic(err) // a buffer takes everything, and the image is a valid one
	}
	return out.Bytes()
}

// palette goes from dark to a bright colour.
func (g generator) palette() color.Palette {
	r, gr, b := 80+g.IntN(176), 80+g.IntN(176), 80+g.IntN(176)
	p := make(color.Palette, shades)
	for i := range p {
		p[i] = color.NRGBA{R: byte(r * i / shades), G: byte(gr * i / shades), B: byte(b * i / shades), A: 255}
	}
	return p
}

// pngBuffers lets the photos share the encoder's buffers, which are many times their size.
type pngBuffers struct{ pool sync.Pool }

// Get returns a buffer, or nil for a new one.
func (p *pngBuffers) Get() *png.EncoderBuffer {
	b, _ := p.pool.Get().(*png.EncoderBuffer)
	return b
}

// Put takes a buffer back.
func (p *pngBuffers) Put(b *png.EncoderBuffer) { p.pool.Put(b) }
