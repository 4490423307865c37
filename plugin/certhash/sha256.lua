-- SHA-256 (FIPS 180-4) in plain Lua, in two variants for the two kinds of interpreter: sha1.lua explains why.

local M = {}

local others = ... or {}  -- the modules by name (plain.lua)
local sha1 = others.sha1

-- The first 32 bits of the fractional parts of the cube roots of the first 64 primes.
local K = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
}

-- A doubled word (x | x << 32) rotates with a plain shift: the bits shifted out at the bottom are also at the top.
local OPERATORS = [[
local K = ...
local unpack = string.unpack
local w = {}
return function(text, pos, s)
    w[1], w[2], w[3], w[4], w[5], w[6], w[7], w[8], w[9], w[10], w[11], w[12], w[13], w[14], w[15], w[16] =
        unpack(">I4I4I4I4I4I4I4I4I4I4I4I4I4I4I4I4", text, pos)
    for i = 17, 64 do
        local x, y = w[i - 15], w[i - 2]
        local xx, yy = x | x << 32, y | y << 32
        w[i] = (w[i - 16] + (xx >> 7 ~ xx >> 18 ~ x >> 3) + w[i - 7] + (yy >> 17 ~ yy >> 19 ~ y >> 10)) & 0xffffffff
    end
    local a, b, c, d, e, f, g, h = s[1], s[2], s[3], s[4], s[5], s[6], s[7], s[8]
    for i = 1, 64 do
        local ee, aa = e | e << 32, a | a << 32
        local t = h + (ee >> 6 ~ ee >> 11 ~ ee >> 25) + (g ~ (e & (f ~ g))) + K[i] + w[i]
        local u = (aa >> 2 ~ aa >> 13 ~ aa >> 22) + ((a & b) | (c & (a | b)))
        a, b, c, d, e, f, g, h = (t + u) & 0xffffffff, a, b, c, (d + t) & 0xffffffff, e, f, g
    end
    s[1], s[2], s[3], s[4] = (s[1] + a) & 0xffffffff, (s[2] + b) & 0xffffffff, (s[3] + c) & 0xffffffff,
        (s[4] + d) & 0xffffffff
    s[5], s[6], s[7], s[8] = (s[5] + e) & 0xffffffff, (s[6] + f) & 0xffffffff, (s[7] + g) & 0xffffffff,
        (s[8] + h) & 0xffffffff
end
]]

local function with_bit32(bit)
    local band, bxor, rrotate, rshift, byte = bit.band, bit.bxor, bit.rrotate, bit.rshift, string.byte
    local w = {}
    return function(text, pos, s)
        for i = 1, 16 do
            local b1, b2, b3, b4 = byte(text, pos, pos + 3)
            w[i] = ((b1 * 256 + b2) * 256 + b3) * 256 + b4
            pos = pos + 4
        end
        for i = 17, 64 do
            local x, y = w[i - 15], w[i - 2]
            w[i] = band(w[i - 16] + bxor(rrotate(x, 7), rrotate(x, 18), rshift(x, 3)) + w[i - 7]
                + bxor(rrotate(y, 17), rrotate(y, 19), rshift(y, 10)), 0xffffffff)
        end
        local a, b, c, d, e, f, g, h = s[1], s[2], s[3], s[4], s[5], s[6], s[7], s[8]
        for i = 1, 64 do
            local t = h + bxor(rrotate(e, 6), rrotate(e, 11), rrotate(e, 25)) + bxor(g, band(e, bxor(f, g))) + K[i] + w[i]
            local u = bxor(rrotate(a, 2), rrotate(a, 13), rrotate(a, 22)) + band(a, b) + band(c, bxor(a, b))
            a, b, c, d, e, f, g, h = band(t + u, 0xffffffff), a, b, c, band(d + t, 0xffffffff), e, f, g
        end
        s[1], s[2], s[3], s[4] = band(s[1] + a, 0xffffffff), band(s[2] + b, 0xffffffff), band(s[3] + c, 0xffffffff),
            band(s[4] + d, 0xffffffff)
        s[5], s[6], s[7], s[8] = band(s[5] + e, 0xffffffff), band(s[6] + f, 0xffffffff), band(s[7] + g, 0xffffffff),
            band(s[8] + h, 0xffffffff)
    end
end

local operators = load(OPERATORS, "=sha256")
local compress = operators and operators(K) or with_bit32(bit32)

--- Return the SHA-256 of a string of bytes, as a string of 32 bytes.
---@param message string
---@return string
function M.digest(message)
    local text = sha1.padded(message)
    local state = {
        0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
    }
    for pos = 1, #text, 64 do
        compress(text, pos, state)
    end
    local words = {}
    for i = 1, 8 do
        words[i] = sha1.word(state[i])
    end
    return table.concat(words)
end

return M
