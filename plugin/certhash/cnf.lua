-- Cisco IP phones' configuration files, SEP<MAC>.cnf.xml and the like: their names, and what they say of the VPN.
--
--   local cnf = dofile("cnf.lua").using({ base64 = ..., address = ... })
--   local file, problem = cnf.read(name, content)
--
-- Only /device/vpnGroup counts: addresses/url1 to url3 and credentials/certHash1 to certHash10, two lists that no
-- numbering pairs (usecallmanager.nz, sepmac-cnf-xml; CME's vpn-gateway and vpn-trustpoint have the same limits).
-- /device/certHash is something else: the phone's own certificate.
--
-- The files are read as they are found in the field, with xsi: undeclared, tags that do not match and the like.  What is
-- so damaged that a vpnGroup may be torn or lost is refused: half a list of hashes would make a false mismatch.

local M = { LARGEST = 2 * 1024 * 1024 }

local base64, address

--- Give this module the ones that it builds on.
function M.using(others)
    base64, address = others.base64, others.address
    return M
end

-- ---------------------------------------------------------------------------------------------------------------------
-- Names

--- The bare name of a file, from a path of any system, a URL's path or an IOS location ("flash:/its/vrf1_SEP....cnf.xml").
function M.base_name(path)
    return (path:gsub("[?#].*$", ""):match("([^/\\:]*)$"))
end

local SEP = "sep%x%x%x%x%x%x%x%x%x%x%x%x"

--- The device that a configuration file is for, by its name; nil where the name is not that of such a file.
-- The name is the only place that says it: SEP and the MAC address, or XMLDefault and a type of phone for a file that
-- several phones share.  Names come plain (.cnf.xml), signed (.sgn) and encrypted (.enc.sgn), in any case, and with the
-- "vrf1_" that CME puts before the files of a VRF.
function M.device(path)
    local name = M.base_name(path):gsub("^[vV][rR][fF]%d+_", "")
    local lower = name:lower()
    local stem = lower:match("^(.+)%.cnf%.xml$") or lower:match("^(.+)%.cnf%.xml%.sgn$")
        or lower:match("^(.+)%.cnf%.xml%.enc%.sgn$")
    local phone, rest = lower:match("^(" .. SEP .. ")(.*)$")
    if phone and not rest:match("^%w") and (stem or rest:match("%.xml$") or rest:match("%.sgn$")) then
        return phone:upper()
    end
    return stem and not stem:find("%c") and name:sub(1, #stem) or nil
end

-- ---------------------------------------------------------------------------------------------------------------------
-- The signed form

-- A header of tag (1 byte), length (2), value stands before the file: 1 is the version (2.0 where the file is encrypted),
-- 2 the header's length, 13 a single byte of padding, 14 the file's name, 16 to 27 describe the encryption.
-- Returns the payload and whether it is encrypted; nil and what is wrong otherwise.
local function unwrap(content)
    if content:byte(6) ~= 2 or content:byte(7) ~= 0 or content:byte(8) ~= 2 or #content < 10 then
        return nil, "its signed header is damaged (no header length)"
    end
    local stop = content:byte(9) * 256 + content:byte(10)
    if stop < 10 or stop >= #content then
        return nil, ("it is cut short: its signed header announces %d bytes, %d are there"):format(stop, #content)
    end
    local encrypted = content:byte(4) >= 2
    local at = 0
    while at < stop do
        local tag, high, low = content:byte(at + 1, at + 3)
        if tag == 13 then
            at = at + 1
        else
            encrypted = encrypted or tag >= 16 and tag <= 27
            at = at + 3 + (high or 0) * 256 + (low or 0)
            if at > stop then
                return nil, "its signed header is damaged (a field reaches over the end)"
            end
        end
    end
    return content:sub(stop + 1), encrypted
end

-- ---------------------------------------------------------------------------------------------------------------------
-- The XML

local ENTITIES = { amp = "&", lt = "<", gt = ">", quot = '"', apos = "'" }

local function unescape(text)
    return (text:gsub("&(#?)(x?)(%w+);", function(hash, x, name)
        if hash == "" then
            return ENTITIES[x .. name]
        end
        local number = tonumber(name, x == "x" and 16 or 10)
        return number and number < 128 and string.char(number) or nil
    end))
end

local function escape(text)
    return (text:gsub("[&<>]", { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;" }))
end

local function trim(text)
    local from = text:find("%S")
    return from and text:match(".*%S", from) or ""
end

local function count(text, pattern)
    local _, number = text:gsub(pattern, "")
    return number
end

-- How often a piece stands in a part of a text.
local function occurrences(text, piece, from, to)
    local number = 0
    local at, last = text:find(piece, from, true)
    while at and at <= to do
        number = number + 1
        at, last = text:find(piece, last + 1, true)
    end
    return number
end

-- How many more elements are opened than closed in a part of a text.  Tags are counted, not compared: in files of the field
-- a closing tag is misspelled more often than it is missing.  (Counting with plain pieces is what makes thousands of files
-- readable at once: patterns take five times as long.)
local function depth(text, from, to)
    local closing = occurrences(text, "</", from, to)
    local opening = occurrences(text, "<", from, to) - closing - occurrences(text, "<?", from, to)
    return opening - closing - occurrences(text, "/>", from, to)
end

-- The text of the one element with this name; "" where there is none.
local function text_at(text, name)
    local found = text:match("<" .. name .. "%s*>([^<]*)</")
    return found and trim(unescape(found)) or ""
end

-- The elements prefixN under a parent of the group: { number =, text = } each, by number.  Nil and what is wrong where
-- one may be lost.
local function numbered(group, parent, prefix, highest)
    local _, from = group:find("<" .. parent .. "[^>]*>")
    local to = from and group:find("</" .. parent .. "%s*>", from)
    local inner = to and group:sub(from + 1, to - 1) or ""
    if from and not to and group:sub(from - 1, from) ~= "/>" then
        return nil, ("it is damaged within its vpnGroup (<%s> is not closed)"):format(parent)
    end
    local by_number, read = {}, 0
    for name, text in inner:gmatch("<(" .. prefix .. "%d+)[^<>/]*>([^<]*)</%1%s*>") do
        local number = tonumber(name:match("%d+$"))
        local value = trim(unescape(text))
        read = read + 1
        if name:match(prefix .. "[1-9]%d*$") and number <= highest then
            if by_number[number] and by_number[number] ~= value then
                return nil, ("<%s> stands a second time with another value, and which one counts is not known"):format(name)
            end
            by_number[number] = value
        end
    end
    local empty = 0
    for name in inner:gmatch("<(" .. prefix .. "%d+)[^<>]*/>") do
        local number = tonumber(name:match("%d+$"))
        empty = empty + 1
        if number >= 1 and number <= highest and not by_number[number] then
            by_number[number] = ""
        end
    end
    if read + empty ~= count(inner, "<" .. prefix .. "%d+") then
        return nil, ("it is damaged within its vpnGroup (a <%sN> is not closed)"):format(prefix)
    end
    local list = {}
    for number = 1, highest do
        if by_number[number] then
            list[#list + 1] = { number = number, text = by_number[number] }
        end
    end
    return list
end

-- The lengths of the digests that a certHash may be: SHA-1, SHA-256, SHA-512.
local ALGORITHMS = { [20] = "SHA-1", [32] = "SHA-256", [64] = "SHA-512" }

-- Read the vpnGroup's text into the file; nil and what is wrong where it cannot be.
local function read_group(file, group)
    local urls, hashes, problem
    urls, problem = numbered(group, "addresses", "url", 3)
    if not urls then
        return nil, problem
    end
    hashes, problem = numbered(group, "credentials", "certHash", 10)
    if not hashes then
        return nil, problem
    end
    file.urls = {}
    for _, url in ipairs(urls) do
        if url.text ~= "" then
            url.head_end, url.problem = M.head_end(url.text)
            file.urls[#file.urls + 1] = url
        end
    end
    for _, item in ipairs(hashes) do
        local digest = base64.decode(item.text)
        item.algorithm = digest and ALGORITHMS[#digest]
        item.digest = item.algorithm and digest or nil
    end
    file.hashes = hashes
    file.hash_algorithm = text_at(group, "hashAlg")
    file.host_id_check = text_at(group, "enableHostIDCheck")
    return file
end

-- A text without its comments, and with its CDATA sections as plain text; nil where one is not closed.  (A pattern would
-- look for the end of every comment anew, which takes for ever in a file made of their beginnings.)
local function without_sections(text)
    local out, at = {}, 1
    while true do
        local from, _, kind = text:find("<!([%-%[]?)", at)
        if not from then
            break
        end
        local opening, closing = kind == "-" and "<!--" or "<![CDATA[", kind == "-" and "-->" or "]]>"
        if text:sub(from, from + #opening - 1) == opening then
            local stop, last = text:find(closing, from + #opening, true)
            if not stop then
                return nil
            end
            out[#out + 1] = text:sub(at, from - 1)
            out[#out + 1] = kind == "[" and escape(text:sub(from + #opening, stop - 1)) or ""
            at = last + 1
        else
            out[#out + 1] = text:sub(at, from + 1)
            at = from + 2
        end
    end
    out[#out + 1] = text:sub(at)
    return table.concat(out)
end

-- UTF-16 loses its NULs: all that is read here is ASCII.
local function plain_text(content)
    if content:find("^\239\187\191") then
        return content:sub(4)
    elseif content:find("^\255\254") or content:find("^\254\255") then
        return (content:sub(3):gsub("\0", ""))
    elseif content:find("^<\0") or content:find("^\0<") then
        return (content:gsub("\0", ""))
    end
    return content:match("^.*[^\0]")
end

-- The name of the outer element; nil where something else than an XML declaration stands before it.
local function root_of(text)
    local at = text:find("%S")
    local _, declared = text:find("^<%?[^<>]*>%s*", at)
    return text:match("^<([%a_][%w_.-]*)", declared and declared + 1 or at)
end

-- The text within the one vpnGroup that counts, false where there is none; nil and what is wrong where nobody can tell.
local function vpn_group(text)
    local found, seen, at = nil, 0, 1
    local open = 0  -- elements that are open at that place
    while true do
        local from, to, slash = text:find("<vpnGroup%s*(/?)>", text:find("<vpnGroup", at, true) or #text + 1)
        if not from then
            break
        end
        local stop = slash == "/" and to + 1 or text:find("</vpnGroup%s*>", to)
        if not stop then
            return nil, "it is damaged or cut short within its vpnGroup"
        end
        open = open + depth(text, at, from - 1)
        -- A tag that is never closed puts all that follows one level down.
        if open == 1 or open + depth(text, from, #text) ~= 0 then
            if found then
                return nil, "it has several vpnGroup elements, and which one a phone takes is not known"
            end
            found = text:sub(to + 1, stop - 1)
        end
        open = open + (slash == "" and 1 or 0)
        seen, at = seen + 1, to + 1
        if seen > 20 then
            return nil, "it has several vpnGroup elements, and which one a phone takes is not known"
        end
    end
    if not found then
        local tail = text:sub(-200)
        local closed = tail:find("</device%s*>%s*$") or tail:find("</Default%s*>%s*$") or tail:find("/>%s*$")
        if not closed then
            return nil, "it is damaged or cut short before the end, and a vpnGroup may be missing"
        end
    end
    return found or false
end

--- Read a configuration file, plain or signed.
-- Returns { device, name, kind, urls, hashes, hash_algorithm, host_id_check }: kind is "plain", "signed" or "encrypted";
-- urls and hashes are nil where the file has no vpnGroup, or where it is encrypted and nobody can tell; a url is
-- { number, text, head_end or problem }, a hash { number, text, digest (bytes), algorithm }, both nil where malformed.
-- Where it cannot be read as it should be, nil and what is wrong, in words that follow the file's name.
function M.read(name, content)
    if #content > M.LARGEST then
        return nil, ("it has %d MB, and a phone's configuration has some kilobytes"):format(#content / 1048576)
    elseif not content:find("[^\0%s]") then
        return nil, "it is empty"
    end
    local file = { device = M.device(name) or M.base_name(name), name = M.base_name(name), kind = "plain" }
    if content:find("^\1\0\2") then
        local payload, encrypted = unwrap(content)
        if not payload then
            return nil, encrypted
        end
        content, file.kind = payload, encrypted and "encrypted" or "signed"
        if encrypted then
            return file
        end
    end
    local text = plain_text(content)
    if text:find("<!", 1, true) then
        if text:find("<![dD][oO][cC][tT][yY][pP][eE]") or text:find("<![eE][nN][tT][iI][tT][yY]") then
            return nil, "it has a document type declaration, which no phone's configuration has: not read"
        end
        text = without_sections(text)
        if not text then
            return nil, "it is damaged or cut short (a comment is not closed)"
        end
    end
    local root = root_of(text)
    if not root then
        return nil, "it is not XML"
    elseif root ~= "device" and root ~= "Default" then
        return nil, ("its outer element is <%s>; a phone's configuration has <device>"):format(root)
    end
    local group, problem = vpn_group(text)
    if group == nil then
        return nil, problem
    elseif group then
        return read_group(file, group)
    end
    if text_at(text, "fullConfig"):lower() == "false" then
        file.kind = "encrypted"  -- the short file beside an encrypted one: everything of interest is in the other
    end
    return file
end

--- What makes a file impossible to check, in words: URLs and hashes that are none.
function M.problems(file)
    local out = {}
    for _, url in ipairs(file.urls or {}) do
        if url.problem then
            out[#out + 1] = ("url%d: %s"):format(url.number, url.problem)
        end
    end
    for _, item in ipairs(file.hashes or {}) do
        if not item.digest then
            out[#out + 1] = ('certHash%d is "%s": not the Base64 of a SHA-1, SHA-256 or SHA-512')
                :format(item.number, item.text)
        end
    end
    return out
end

-- ---------------------------------------------------------------------------------------------------------------------
-- URLs

--- The head-end that a URL names: { host =, port =, address = bytes or nil }; nil and what is wrong otherwise.
-- The host is in lower case, without a final dot or brackets.
function M.head_end(url)
    url = trim(url)
    if url == "" then
        return nil, "the URL is empty"
    elseif url:find("[%c ]") then
        return nil, "the URL has blanks or control characters in it"
    end
    local scheme, authority = url:match("^(%a[%w+.-]*)://([^/?#\\]*)")
    if not scheme then
        return nil, "the URL does not start with https:// and a host"
    elseif scheme:lower() ~= "https" then
        return nil, ("the URL starts with %s://, and a phone's VPN client needs https://"):format(scheme)
    elseif authority:find("@", 1, true) then
        return nil, "the URL has a user name in it, which a head-end's URL cannot have"
    end
    local host, port = authority:match("^%[([^%[%]]*)%](.*)$")
    local bytes
    if host then
        bytes = host:find(":", 1, true) and address.parse(host)
        if not bytes then
            return nil, ("the URL's host [%s] is not an IPv6 address"):format(host)
        end
    else
        host, port = authority:match("^([^:%[%]]*)(.*)$")
        if not host or port ~= "" and not port:find("^:[^:]*$") then
            return nil, "the URL's host cannot be told: an IPv6 address needs [ ] around it"
        end
        host = host:lower():gsub("%.$", "")
        if host == "" then
            return nil, "the URL has no host"
        elseif host:find("^%d+$") or host:find("%.%d+$") then  -- no top-level domain is a number
            bytes = address.parse(host)
            if not bytes then
                return nil, ("the URL's host %s is neither an IPv4 address nor a name"):format(host)
            end
        elseif #host > 253 or host:find("[^%w_.-]") or host:find("%.%.") or host:find("^[.-]") then
            return nil, ("the URL's host %s is not a valid name"):format(host)
        end
    end
    if bytes then
        -- An IPv4 address inside IPv6 (::ffff:10.1.1.1) is the IPv4 address: that is what crosses the wire.
        bytes = bytes:match("^" .. ("\0"):rep(10) .. "\255\255(....)$") or bytes
        host = address.text(bytes)
    end
    port = port:gsub("^:", "")
    if port == "" then
        return { host = host, port = 443, address = bytes }
    end
    local number = port:find("^%d%d?%d?%d?%d?$") and tonumber(port)
    if not number or number < 1 or number > 65535 then
        return nil, ("the URL's port %s is not a number from 1 to 65535"):format(port)
    end
    return { host = host, port = number, address = bytes }
end

return M
